"""Child processes: started with a group of their own, listened to line by line, ended as a tree. Standard library only."""
