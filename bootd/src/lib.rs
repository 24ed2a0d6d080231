//! The boot plan, its views, and the supervisor of all services.
