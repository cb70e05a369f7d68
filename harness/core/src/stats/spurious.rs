//! Success rates beside spurious failures: worst-case bounds, Imbens-Manski, audits, conversion.
