"""What becomes of conditions: alerts from pending to resolved, and what is told to whom."""
