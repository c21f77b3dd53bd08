"""Bytes on a device, with structured outcomes; knows nothing of what the bytes mean.

The device is an argument everywhere above: a file, a block device, memory, or a decorator that
records or fails. One conformance kit (tests/device) runs over all of them.
"""
