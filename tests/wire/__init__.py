"""Tests of `swim.wire`."""
