"""`make incident`: the design that lost 198 rows, and Rowledger, on the same rows under the same cut connections."""
