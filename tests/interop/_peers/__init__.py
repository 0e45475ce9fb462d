"""The peers that the interoperability tests talk to, and one set of scenarios for all of them.

A scenario makes calls through a caller and looks at what came back; it knows neither the client nor
the server. So the same scenarios hold for our client on a grpcio server, a grpclib client on
our server, and so on. Foreign libraries run in child processes that speak JSON lines.
"""
