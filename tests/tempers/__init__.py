"""Every temper of the buyer farm, met by the real engine over the real transport, and what follows."""
