"""The networks that ship with the package: a folder each, read by `mrfpipe.learning.shipped`."""
