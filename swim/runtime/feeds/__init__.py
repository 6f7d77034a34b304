"""What an application reads from: streams of events and of messages."""
