"""TLS: contexts with sane defaults, certificates that change while serving, who the peer is."""
