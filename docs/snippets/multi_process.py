def matrix():
    return A
