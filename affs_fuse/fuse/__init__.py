"""The FUSE edge: translate, call, translate. The only room that knows pyfuse3."""
