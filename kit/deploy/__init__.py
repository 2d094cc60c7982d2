"""What is copied to a device: one module for each kind of device."""
