"""A model file to the device where it runs: one module for each kind of device."""
