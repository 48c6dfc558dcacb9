"""What several tests share: small float models, and the stages of a build one after the other."""
