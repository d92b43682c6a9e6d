"""What people do with refused rows: list, edit, discard, replay."""
