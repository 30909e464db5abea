"""From a path template and a job's metadata to a path that is legal and confined at the destination."""
