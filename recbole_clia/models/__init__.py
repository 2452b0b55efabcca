"""The models that RecBole runs."""
