"""From a chunk's rows as the source has them to rows ready for COPY: faults, then the transform, then the contract. No I/O."""
