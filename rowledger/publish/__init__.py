"""From staged rows to the target: duplicates sifted, counts reconciled, the partition published; and verified later."""
