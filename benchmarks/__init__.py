"""Speed, measured as ratios in one run. Behind `fleet bench`."""
