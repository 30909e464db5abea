"""Real servers on loopback, one small module each: ``with seaweed.start() as server: ...``.

Each listens on a free port, keeps its data in its own temporary folder, and dies with the test process.
``available()`` says whether its program is there; conveyor.testing.plugin.requires() turns that into a skip
with the package's name, or into a failure under ``CI=true``.
"""
