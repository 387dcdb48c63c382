"""What a run needs of memory, time and money, found out before anything is rented."""
