"""To try the product on: a farm of buyers of every temper, and a demo that runs the real daemon against it."""
