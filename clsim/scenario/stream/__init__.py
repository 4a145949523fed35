"""A StreamPlan as a real Avalanche benchmark. Hidden labels end here."""
