"""One file per wire format, found by scan. See `ingest.codec` for what a codec promises."""
