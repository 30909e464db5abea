"""Types of options that people write with units, or relative to the config file.

``Duration`` (``30s``), ``Size`` (``16MiB``), ``Rate`` (``10/s``), ``LocalPath`` (relative to the config
file), ``EndpointUrl`` (an address that gets tokens: https, or http on this machine). ``conveyor connectors
show``, the JSON Schema and the documentation know them.
"""

from conveyor.config.options import Duration, EndpointUrl, LocalPath, Rate, Size

__all__ = ["Duration", "EndpointUrl", "LocalPath", "Rate", "Size"]
