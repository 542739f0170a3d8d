"""Networks that compare two visits: pure torch, knowing neither files nor image formats. Start at registry.build."""
