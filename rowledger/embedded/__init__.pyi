from .server import EmbeddedServer as EmbeddedServer
