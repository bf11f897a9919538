//! How a network works away from home: engines, parity, bench, report.
