"""Pure adapters: render a request, sign it, classify the answer. One file a format or kind of auth."""
