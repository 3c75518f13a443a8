"""The services that models are asked through, one file each; `client` holds what they share."""
