"""The command ``srkit prepare``: aligned faces out of photographs."""
