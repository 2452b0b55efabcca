"""What a trained model does inside: its interests, their proxies, its attention and its fusion."""
