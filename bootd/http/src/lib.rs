//! HTTP for machines that boot: sendfile front, views, hyper behind.
