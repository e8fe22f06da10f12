//! Cohort folders and their tables as one index of scans.
