"""The bundled pretrained networks: one folder each, read by `mrfpipe.learning.shipped`."""
