"""Use the site by its pages, and print what they answer."""

import json

from web import app

client = app.test_client()
print(json.dumps([client.post("/motto", json=[]).json, client.post("/answer", json=["x"]).json]))
