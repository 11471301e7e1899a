"""What runs at Cloudflare: the Worker, and its configuration for wrangler."""
