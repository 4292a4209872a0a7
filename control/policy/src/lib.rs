//! Prefix lists, AS-path and community sets, and ordered rules: typed, checked at load, testable offline.
