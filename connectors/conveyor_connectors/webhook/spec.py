"""What ``conveyor connectors`` knows of webhooks without importing anything else."""

from conveyor.contract import Capabilities, ConnectorSpec

EXAMPLE = """\
backend:
  type: webhook
  url: https://api.example.com/photos
  secret: ${WEBHOOK_SECRET}
  format: multipart
"""

SPEC = ConnectorSpec(
    type="webhook",
    summary="HTTP POST of each file to a URL, signed: multipart, JSON with base64, or the raw bytes",
    factory="conveyor_connectors.webhook.connector:open_webhook",
    options="conveyor_connectors.webhook.options:WebhookOptions",
    capabilities=Capabilities(concurrency=8, places=False, deletes=False, observable=False),
    extra="webhook",
    example=EXAMPLE,
)
