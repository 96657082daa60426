//! The loop every agent shares: ask the model, run the tools it calls, give it the results, until it stops calling.
