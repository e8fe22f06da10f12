//! Synthetic T1 heads that age, laid out as the cohorts ship.
