//! /init of every node: network root, statelite set-up, status reports.

fn main() {}
