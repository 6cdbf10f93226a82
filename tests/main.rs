//! The program as its users meet it: the real binary on small projects.
