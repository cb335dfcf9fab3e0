"""What makes the documentation: generated reference pages, pictures, the site and the changelog."""
