"""One judgment a file; `terms.check` puts them together. Each takes decoded terms and a page to write findings on."""
