"""Deletion of nodes, edges and features from graph networks, against models retrained without them."""
