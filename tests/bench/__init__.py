"""Speed and memory against what is promised, measured by ``make bench``. A target is a ratio to a baseline of the same run where
there is one, so that a slow machine is no excuse and a fast one no proof."""
