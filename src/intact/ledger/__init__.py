"""A record that nobody can rewrite: events, receipts, and a Merkle tree over them (RFC 6962)."""
