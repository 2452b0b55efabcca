"""How is a log made whose every interaction says what drove it?"""
